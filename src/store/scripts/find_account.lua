-- script: find_account
-- purpose: finds the account of an e-mail address
-- KEYS[1] meta: sequence
-- KEYS[2] email: lower-cased address -> id
-- ARGV[1] email: lower-cased
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, id} | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local id = redis.call('HGET', KEYS[2], ARGV[1])
if not id then return { 'NONE', seq, now } end
return { 'OK', seq, now, id }
