-- script: get_usage
-- purpose: reads whole HASHes of rows: counters of requests, or what was left of quotas
-- KEYS[1] meta: sequence
-- KEYS[2..] rows: HASHes of `lib/usage.lua`, or of `note_capacity`
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per HASH: how many rows it has, then each row and its text}
-- complexity: O(rows)
-- durability: periodic
local now = clock(ARGV[1])
local reply, n = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }, 3
for i = 2, #KEYS do
  local rows = redis.call('HGETALL', KEYS[i])
  n = n + 1
  reply[n] = #rows / 2
  for _, text in ipairs(rows) do
    n = n + 1
    reply[n] = text
  end
end
return reply
