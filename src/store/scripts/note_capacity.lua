-- script: note_capacity
-- purpose: keeps what was left of the pool's quotas at a moment: once for all replicas
-- KEYS[1] meta: sequence
-- KEYS[2] capacity: of one day, slot → what was left
-- ARGV[1] slot: the moment's ten minutes, counted from the epoch
-- ARGV[2] text: what was left, by model
-- ARGV[3] life: how long the day is kept from its first note on, ms
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, 1 when this is kept, 0 when another replica was first}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[4])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if redis.call('HGET', KEYS[2], ARGV[1]) then return { 'OK', seq, now, 0 } end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[2]) == -1 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
return { 'OK', seq, now, 1 }
