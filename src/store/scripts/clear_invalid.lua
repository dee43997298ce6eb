-- script: clear_invalid
-- purpose: makes an account valid again after its owner acted; its health starts anew
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] tfail: failed refreshes of this account
-- ARGV[1] id: account
-- ARGV[2] channel: of events
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK|NONE, seq, now}
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[3])
local text = redis.call('HGET', KEYS[2], ARGV[1])
if not text then return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
local a = read_hot(text)
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
a.inv, a.h, a.hat, a.cf, a.cool = 'o', nil, 0, 0, 0
write_hot(KEYS[2], ARGV[1], a)
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('PUBLISH', ARGV[2], 'account ' .. ARGV[1] .. ' ' .. seq)
return { 'OK', seq, now }
