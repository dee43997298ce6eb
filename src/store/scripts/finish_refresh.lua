-- script: finish_refresh
-- purpose: keeps the token its refresher fetched, unless the lock passed on or the credential changed
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] tok: sealed access tokens
-- KEYS[4] tlock: who refreshes this account
-- KEYS[5] tfail: failed refreshes of this account
-- KEYS[6] tdown: tokens cannot be fetched for now
-- ARGV[1] id: account
-- ARGV[2] owner: of the lock
-- ARGV[3] cv: credential version that was used
-- ARGV[4] ttl_ms: how long the token may be used
-- ARGV[5] sealed: the token
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation} | {LOST|STALE|NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[6])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[2], id)
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if not text then return { 'NONE', current, now } end
if lock_state(KEYS[4], now) ~= ARGV[2] then return { 'LOST', current, now } end
local a, token = read_hot(text), read_token(redis.call('HGET', KEYS[3], id))
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('DEL', KEYS[4])
if a.cv ~= tonumber(ARGV[3]) then return { 'STALE', seq, now } end
token.gen, token.cv, token.ends, token.sealed = token.gen + 1, a.cv, now + tonumber(ARGV[4]), ARGV[5]
write_token(KEYS[3], id, token)
redis.call('DEL', KEYS[5], KEYS[6])
return { 'OK', seq, now, token.gen }
