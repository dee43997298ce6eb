-- script: clear_invalid
-- purpose: makes an account valid again whose credential was tried and works, if it still has that one and is invalid
--    for no newer cause; its health starts anew
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] tfail: failed refreshes of this account
-- ARGV[1] id: account
-- ARGV[2] cv: credential version that was tried
-- ARGV[3] since: when it became invalid as the caller saw it, ms; 0 when that is unknown
-- ARGV[4] channel: of events
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK|STALE|NONE, seq, now}; STALE also when it is valid
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[5])
local text = redis.call('HGET', KEYS[2], ARGV[1])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if not text then return { 'NONE', seq, now } end
local a = read_hot(text)
local since = tonumber(string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '', '^%d+') or 0)
if a.inv == 0 or a.cv ~= tonumber(ARGV[2]) or since ~= tonumber(ARGV[3]) then return { 'STALE', seq, now } end
seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
a.inv, a.h, a.hat, a.cf, a.cool = 0, -1, 0, 0, 0
write_hot(KEYS[2], ARGV[1], a)
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('PUBLISH', ARGV[4], 'account ' .. ARGV[1] .. ' ' .. seq)
return { 'OK', seq, now }
