-- script: remove_account
-- purpose: forgets an account; its leases lapse, its late settlements change nothing
-- KEYS[1] meta: sequence and number of the newest record
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
-- KEYS[13] audit: records of operators
-- KEYS[14..] model: limits and quotas of the models known to the caller
-- ARGV[1] id: account
-- ARGV[2] channel: of events
-- ARGV[3] row: for the audit trail; empty for none
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now}
-- complexity: O(models); O(accounts) when its record is damaged
-- durability: fsync
local now = clock(ARGV[4])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[4], id)
local place = redis.call('ZSCORE', KEYS[2], id)
if not text and not place then return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
local account = is_account(text) and read_account(text)
local number = tonumber(account and account[2] or place or 0)
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('ZREM', KEYS[2], id)
local address = account and account[3] or address_of(KEYS[3], id)
redis.call('HDEL', KEYS[3], address)
for i = 4, 9 do redis.call('HDEL', KEYS[i], id) end
index_thresholds(KEYS[10], number, '')
redis.call('DEL', KEYS[11], KEYS[12])
for i = 14, #KEYS do forget_model(KEYS[i], number) end
audit(KEYS[1], KEYS[13], ARGV[3], seq, now, '', address, 'account\30known')
redis.call('PUBLISH', ARGV[2], 'account ' .. id .. ' ' .. seq)
return { 'OK', seq, now }
