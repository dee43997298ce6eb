-- script: put_signatures
-- purpose: remembers what streams taught about signatures, for at least the time given since the last use
-- KEYS[1] meta: sequence
-- KEYS[2..] sig: one per signature, at most 1,024
-- ARGV[1] ttl_ms: time a signature lives unused
-- ARGV[2..] value: one per key, not empty
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, signatures kept}
-- complexity: O(signatures)
-- durability: periodic
local now = clock(ARGV[#ARGV])
local keep = math.floor(tonumber(ARGV[1]) * 1.5)
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i], 'PX', keep) end
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now, #KEYS - 1 }
