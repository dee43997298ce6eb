-- script: get_answers
-- purpose: what was answered to a question by those whose answers the caller does not have yet, by replica
-- KEYS[1] meta: sequence
-- KEYS[2] ask: answers to the question
-- ARGV[1..] replica: whose answers the caller has
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per answer 3 values: id of the replica, when (ms), text}
-- complexity: O(answers * log answers)
-- durability: periodic
local now = clock(ARGV[#ARGV])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local known, ids = { ['#'] = true }, {}
for i = 1, #ARGV - 1 do known[ARGV[i]] = true end
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not known[id] then ids[#ids + 1] = id end
end
table.sort(ids)
for _, id in ipairs(ids) do
  local at, text = string.match(redis.call('HGET', KEYS[2], id), '^(%d+)|(.*)$')
  for _, value in ipairs({ id, tonumber(at), text }) do reply[#reply + 1] = value end
end
return reply
