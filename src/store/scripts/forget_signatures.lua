-- script: forget_signatures
-- purpose: forgets signatures, for developers who want to see what happens without them
-- KEYS[1] meta: sequence
-- KEYS[2..] sig: one per signature, at most 1,024
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, signatures forgotten}
-- complexity: O(signatures)
-- durability: periodic
local now = clock(ARGV[1])
local forgotten = 0
for i = 2, #KEYS do forgotten = forgotten + redis.call('DEL', KEYS[i]) end
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now, forgotten }
