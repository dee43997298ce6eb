-- script: list_presets
-- purpose: the presets of one family by name
-- KEYS[1] meta: sequence
-- KEYS[2] presets: JSON by name; an empty one stands for a built-in preset that was removed
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then name and JSON of each, in no order}
-- complexity: O(presets)
-- durability: periodic
local now = clock(ARGV[1])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local rows = redis.call('HGETALL', KEYS[2])
for i = 1, #rows do reply[3 + i] = rows[i] end
return reply
