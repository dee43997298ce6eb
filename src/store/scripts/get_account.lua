-- script: get_account
-- purpose: one account as it is listed, with its sealed credential: both of the same moment
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] email: lower-cased address -> id
-- KEYS[4] acct: account records
-- KEYS[5] cred: sealed credentials
-- KEYS[6] hot: selection records
-- KEYS[7] inv: when and why accounts became invalid
-- KEYS[8] tok: sealed access tokens
-- KEYS[9] quota: quotas by account
-- ARGV[1] id: account, or empty
-- ARGV[2] email: lower-cased; of the account that is wanted where there is no id
-- ARGV[3] base: settings below the shared ones
-- ARGV[4] pinned: settings above them
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, sealed credential, then 30 values as list_accounts tells of each account, the limits empty}
--    | {DAMAGED, seq, now, id} when its record cannot be read | {NONE, seq, now}
-- complexity: O(settings)
-- durability: periodic
local now = clock(ARGV[5])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local id = ARGV[1] ~= '' and ARGV[1] or redis.call('HGET', KEYS[3], ARGV[2])
local sealed = id and redis.call('HGET', KEYS[5], id)
if not sealed then return { 'NONE', seq, now } end
local reply = { 'OK', seq, now, sealed }
local at = { acct = KEYS[4], hot = KEYS[6], inv = KEYS[7], tok = KEYS[8], quota = KEYS[9] }
if not describe(reply, at, id, load_settings(KEYS[2], ARGV[3], ARGV[4]), now) then return { 'DAMAGED', seq, now, id } end
reply[#reply + 1] = ''
return reply
