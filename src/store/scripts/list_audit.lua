-- script: list_audit
-- purpose: the newest records of the audit trail before one of them, newest first
-- KEYS[1] meta: sequence
-- KEYS[2] audit: records of operators
-- KEYS[3] strangers: records of strangers
-- ARGV[1] before: number of a record; empty for the end of the trail
-- ARGV[2] most: records of one answer
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then the records}
-- complexity: O(log records + records of the answer)
-- durability: periodic
local now = clock(ARGV[3])
local before, most = ARGV[1] == '' and '+inf' or '(' .. ARGV[1], tonumber(ARGV[2])
local ours = redis.call('ZREVRANGEBYSCORE', KEYS[2], before, '-inf', 'LIMIT', 0, most)
local theirs = redis.call('ZREVRANGEBYSCORE', KEYS[3], before, '-inf', 'LIMIT', 0, most)
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local function number(record)
  return record and tonumber(split(record)[1]) or 0
end
local i, j = 1, 1
while #reply - 3 < most and (ours[i] or theirs[j]) do
  if number(ours[i]) > number(theirs[j]) then
    reply[#reply + 1], i = ours[i], i + 1
  else
    reply[#reply + 1], j = theirs[j], j + 1
  end
end
return reply
