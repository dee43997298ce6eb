-- script: count_request
-- purpose: counts a request that ended without an answer, once: no settlement counts it
-- KEYS[1] meta: sequence
-- KEYS[2] req: that it is counted
-- KEYS[3] usage: counters of the hour in which it ended
-- KEYS[4] hourly: those of that day, by hour and model
-- KEYS[5] daily: those of that day, by model and client key
-- ARGV[1] counted: the model that the request counts for
-- ARGV[2] status: class
-- ARGV[3] client_key: id
-- ARGV[4] hour: in hours since the epoch
-- ARGV[5] input: tokens
-- ARGV[6] output: tokens
-- ARGV[7] cache_read: tokens
-- ARGV[8] thinking: tokens
-- ARGV[9] latency: ms
-- ARGV[10] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, 1, or 0 when it was counted before}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[10])
if redis.call('GET', KEYS[2]) then return { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, 0 } end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
count_usage(KEYS[3], KEYS[4], KEYS[5], 1)
redis.call('SET', KEYS[2], 'counted', 'PX', 900000)
return { 'OK', seq, now, 1 }
