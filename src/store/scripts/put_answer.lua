-- script: put_answer
-- purpose: answers a question of another replica, unless nobody listens any more
-- KEYS[1] meta: sequence
-- KEYS[2] ask: answers to the question
-- ARGV[1] replica: who answers
-- ARGV[2] answer: any text
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now} when nobody listens
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[3])
if not redis.call('HGET', KEYS[2], '#') then
  return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
redis.call('HSET', KEYS[2], ARGV[1], exact(now) .. '|' .. ARGV[2])
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now }
