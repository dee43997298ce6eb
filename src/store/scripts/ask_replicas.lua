-- script: ask_replicas
-- purpose: asks the other replicas that are alive; what they answer is collected under the question's own key
-- KEYS[1] meta: sequence
-- KEYS[2] replicas: records of replicas
-- KEYS[3] ask: answers to this question
-- ARGV[1] replica: who asks
-- ARGV[2] id: of the question, unique
-- ARGV[3] question: words
-- ARGV[4] life_ms: how long answers are taken
-- ARGV[5] channel: of events
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per replica asked 2 values: id, host}
-- complexity: O(replicas * log replicas)
-- durability: periodic
local now = clock(ARGV[6])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local ids, replicas = read_replicas(KEYS[2])
for _, id in ipairs(ids) do
  if id ~= ARGV[1] and replicas[id].ends > now then
    reply[#reply + 1] = id
    reply[#reply + 1] = replicas[id].host
  end
end
if #reply > 3 then
  reply[2] = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  -- What is not asked any more is not answered: the key is there as long as somebody listens.
  redis.call('HSET', KEYS[3], '#', ARGV[1])
  redis.call('PEXPIRE', KEYS[3], tonumber(ARGV[4]))
  redis.call('PUBLISH', ARGV[5], 'ask ' .. ARGV[2] .. ' ' .. reply[2] .. ' ' .. ARGV[3])
end
return reply
