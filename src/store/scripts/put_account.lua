-- script: put_account
-- purpose: adds an account, or renews the one of that e-mail address: its credential version grows and it
--    is valid again; sequence number, id, session and time of adding stay. What is damaged of it begins anew
-- KEYS[1] meta: sequence, numbers of the newest account and of the newest record
-- KEYS[2] cfg: shared settings
-- KEYS[3] roster: id -> number, the order of accounts
-- KEYS[4] email: lower-cased address -> id
-- KEYS[5] acct: account records, also written by set_account
-- KEYS[6] cred: sealed credentials
-- KEYS[7] hot: selection records
-- KEYS[8] inv: when and why accounts became invalid
-- KEYS[9] th: per-model thresholds
-- KEYS[10] tfail: failed refreshes of this id
-- KEYS[11] audit: records of operators
-- ARGV[1] id: the new account's, or the existing one's (the credential is sealed for it)
-- ARGV[2] email: lower-cased
-- ARGV[3] source: oauth, manual or database
-- ARGV[4] credential: sealed
-- ARGV[5] project: empty keeps the known one
-- ARGV[6] managed_project: empty keeps the known one
-- ARGV[7] session: of a new account
-- ARGV[8] added_at: ms, of a new account; empty is now
-- ARGV[9] tier: unknown, free, pro or ultra; empty keeps
-- ARGV[10] tier_project: of the subscription; empty keeps
-- ARGV[11] tier_seen_at: ms; empty keeps
-- ARGV[12] database: path; empty keeps
-- ARGV[13] enabled: 0, 1, empty keeps (new: 1)
-- ARGV[14] threshold: fraction, `-` removes, empty keeps
-- ARGV[15] model_thresholds: `model=fraction`, space between; `-` removes all, empty keeps
-- ARGV[16] base: settings below the shared ones
-- ARGV[17] pinned: settings above them
-- ARGV[18] channel: of events
-- ARGV[19] row: for the audit trail; empty for none
-- ARGV[20] now: ms since the epoch, empty for the store's own time
-- reply: {ADDED|RENEWED, seq, now, id, credential version, number} | {RESEAL, seq, now, id} when the address
--    belongs to that id | {FULL, seq, now, most accounts} | {TAKEN, seq, now} when the id has another address
-- complexity: O(models with thresholds)
-- durability: fsync
local now = clock(ARGV[20])
local id, email = ARGV[1], ARGV[2]
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local owner = redis.call('HGET', KEYS[4], email)
local text = redis.call('HGET', KEYS[5], id)
if owner and owner ~= id then return { 'RESEAL', current, now, owner } end
if text and not owner then return { 'TAKEN', current, now } end
local hot = redis.call('HGET', KEYS[7], id)
local account, a = is_account(text) and read_account(text), is_hot(hot) and read_hot(hot)
local number = account and tonumber(account[2]) or a and a.seq or tonumber(redis.call('ZSCORE', KEYS[3], id) or nil)
local known = number ~= nil
if not known then
  local s = load_settings(KEYS[2], ARGV[16], ARGV[17])
  if s['maxAccounts'] > 0 and redis.call('ZCARD', KEYS[3]) >= s['maxAccounts'] then
    return { 'FULL', current, now, s['maxAccounts'] }
  end
end

local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
if not known then number = redis.call('HINCRBY', KEYS[1], 'accounts', 1) end
if not account then
  local added = ARGV[8] ~= '' and ARGV[8] or now
  account = { '1', number, email, '', '', '', ARGV[7], added, 'unknown', '', '', '', 0, '' }
end
if a then
  a.cv, a.inv, a.cool, a.cf = a.cv + 1, 0, 0, 0
else
  a = new_hot(number)
  -- How many credentials it has had is not known any more; so many they were not.
  if known then a.cv = now end
end
for position, value in pairs({ [4] = ARGV[3], [5] = ARGV[5], [6] = ARGV[6], [9] = ARGV[9], [10] = ARGV[10],
  [11] = ARGV[11], [12] = ARGV[12], [14] = ARGV[15] }) do
  if value ~= '' then account[position] = value end
end
if account[14] == '-' then account[14] = '' end
account[13] = tonumber(account[13]) + 1
if ARGV[13] ~= '' then a.en = tonumber(ARGV[13]) end
change_threshold(a, ARGV[14], account[14])

redis.call('ZADD', KEYS[3], a.seq, id)
redis.call('HSET', KEYS[4], email, id)
redis.call('HSET', KEYS[5], id, write_account(account))
redis.call('HSET', KEYS[6], id, ARGV[4])
write_hot(KEYS[7], id, a)
redis.call('HDEL', KEYS[8], id)
redis.call('DEL', KEYS[10])
if ARGV[15] ~= '' then index_thresholds(KEYS[9], a.seq, account[14]) end
audit(KEYS[1], KEYS[11], ARGV[19], seq, now, '', email, known and 'account\30known' or '')
redis.call('PUBLISH', ARGV[18], 'account ' .. id .. ' ' .. seq)
return { known and 'RENEWED' or 'ADDED', seq, now, id, a.cv, a.seq }
