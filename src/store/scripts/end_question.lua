-- script: end_question
-- purpose: nobody listens to answers to a question any more, and those that were given go
-- KEYS[1] meta: sequence
-- KEYS[2] ask: answers to the question
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now} when that was so before
-- complexity: O(answers)
-- durability: periodic
local now = clock(ARGV[1])
if redis.call('DEL', KEYS[2]) == 0 then
  return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now }
