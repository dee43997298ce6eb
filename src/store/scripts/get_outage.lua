-- script: get_outage
-- purpose: whether tokens cannot be fetched for now: an account that rests may do so for want of one
-- KEYS[1] meta: sequence
-- KEYS[2] tdown: the account whose refresh failed last, while no other has succeeded
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, 1 when tokens cannot be fetched, else 0}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[1])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
return { 'OK', seq, now, redis.call('GET', KEYS[2]) and 1 or 0 }
