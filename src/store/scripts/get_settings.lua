-- script: get_settings
-- purpose: the shared settings and their generation, unless the caller has that generation already
-- KEYS[1] meta: sequence and generations
-- KEYS[2] cfg: settings that scripts read
-- KEYS[3] conf: settings that gateways read
-- ARGV[1] generation: that the caller has; empty asks for all
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation, then name and value of each, in no order; a name begins with cfg/ or conf/}
--   | {SAME, seq, now, generation}
-- complexity: O(settings)
-- durability: periodic
local now = clock(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:settings')
local seq, generation = tonumber(row[1] or 0), tonumber(row[2] or 0)
if ARGV[1] ~= '' and tonumber(ARGV[1]) == generation then return { 'SAME', seq, now, generation } end
local reply = { 'OK', seq, now, generation }
for at, place in ipairs({ 'cfg/', 'conf/' }) do
  local rows = redis.call('HGETALL', KEYS[at + 1])
  for i = 1, #rows, 2 do
    reply[#reply + 1] = place .. rows[i]
    reply[#reply + 1] = rows[i + 1]
  end
end
return reply
