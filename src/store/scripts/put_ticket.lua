-- script: put_ticket
-- purpose: remembers a ticket that opens the log stream once; of too many the one that ends first gives way
-- KEYS[1] meta: sequence
-- KEYS[2] tickets: by the SHA-256 of each
-- ARGV[1] ticket: its SHA-256, hex
-- ARGV[2] life_ms: how long it is good
-- ARGV[3] most: tickets there may be
-- ARGV[4] whose: who asked for it
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now}
-- complexity: O(tickets)
-- durability: periodic
local now = clock(ARGV[5])
local rows, count, first, at = redis.call('HGETALL', KEYS[2]), 0, nil, nil
for i = 1, #rows, 2 do
  local ends = tonumber(split(rows[i + 1])[1])
  if ends <= now then
    redis.call('HDEL', KEYS[2], rows[i])
  else
    count = count + 1
    if not at or ends < at or ends == at and rows[i] < first then first, at = rows[i], ends end
  end
end
if count >= tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], first) end
redis.call('HSET', KEYS[2], ARGV[1], table.concat({ exact(now + tonumber(ARGV[2])), ARGV[4] }, '\31'))
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[2]))
return { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
