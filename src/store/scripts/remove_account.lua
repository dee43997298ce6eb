-- script: remove_account
-- purpose: forgets an account; its leases lapse, its late settlements change nothing
-- KEYS[1] meta: sequence
-- KEYS[2] roster: order of accounts
-- KEYS[3] email: lower-cased address -> id
-- KEYS[4] acct: account records
-- KEYS[5] cred: sealed credentials
-- KEYS[6] hot: selection records
-- KEYS[7] inv: when and why accounts became invalid
-- KEYS[8] tok: sealed access tokens
-- KEYS[9] quota: quotas by account
-- KEYS[10] th: per-model thresholds
-- KEYS[11] tlock: who refreshes this account
-- KEYS[12] tfail: failed refreshes of this account
-- KEYS[13..] model: limits and quotas of the models known to the caller
-- ARGV[1] id: account
-- ARGV[2] channel: of events
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now}
-- complexity: O(models)
-- durability: fsync
local now = clock(ARGV[3])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[4], id)
if not text then return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
local account = read_account(text)
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('ZREM', KEYS[2], id)
redis.call('HDEL', KEYS[3], account[3])
for i = 4, 9 do redis.call('HDEL', KEYS[i], id) end
index_thresholds(KEYS[10], id, '')
redis.call('DEL', KEYS[11], KEYS[12])
for i = 13, #KEYS do redis.call('HDEL', KEYS[i], id) end
redis.call('PUBLISH', ARGV[2], 'account ' .. id .. ' ' .. seq)
return { 'OK', seq, now }
