-- script: rehearse
-- purpose: runs every command of the other scripts once, on a key that nobody uses, so that a server or an access
--    rule that lacks one is noticed when a gateway starts and not in the middle of a settlement
-- KEYS[1] meta: sequence
-- KEYS[2] scratch: gone when the script ends
-- ARGV[1] channel: of events
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[2])
local scratch = KEYS[2]
redis.call('TIME')
redis.call('SET', scratch, '1', 'PX', 1000)
redis.call('GET', scratch)
redis.call('PEXPIRE', scratch, 1000)
redis.call('PTTL', scratch)
redis.call('DEL', scratch)
redis.call('HSET', scratch, 'a', '1')
redis.call('HINCRBY', scratch, 'a', 1)
redis.call('HGET', scratch, 'a')
redis.call('HMGET', scratch, 'a', 'b')
redis.call('HGETALL', scratch)
redis.call('HKEYS', scratch)
redis.call('HVALS', scratch)
redis.call('HLEN', scratch)
redis.call('HDEL', scratch, 'a')
redis.call('ZADD', scratch, 1, 'a')
redis.call('ZSCORE', scratch, 'a')
redis.call('ZCARD', scratch)
redis.call('ZCOUNT', scratch, '-inf', '+inf')
redis.call('ZRANGE', scratch, 0, 0)
redis.call('ZRANGEBYSCORE', scratch, '-inf', 1, 'LIMIT', 0, 1)
redis.call('ZREVRANGEBYSCORE', scratch, 1, '-inf', 'LIMIT', 0, 1)
redis.call('ZREMRANGEBYRANK', scratch, 0, -2)
redis.call('ZREM', scratch, 'a')
redis.call('DEL', scratch)
redis.call('PUBLISH', ARGV[1], 'rehearsal - 0')
return { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
