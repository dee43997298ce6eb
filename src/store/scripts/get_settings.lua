-- script: get_settings
-- purpose: the shared settings and their generation
-- KEYS[1] meta: sequence and generations
-- KEYS[2] settings: cfg (read by scripts) or conf (read by gateways)
-- ARGV[1] scope: cfg or conf
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation, then name and value of each, in no order}
-- complexity: O(settings)
-- durability: periodic
local now = clock(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:' .. ARGV[1])
local reply = { 'OK', tonumber(row[1] or 0), now, tonumber(row[2] or 0) }
for _, text in ipairs(redis.call('HGETALL', KEYS[2])) do reply[#reply + 1] = text end
return reply
