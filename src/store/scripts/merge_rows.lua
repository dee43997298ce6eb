-- script: merge_rows
-- purpose: brings rows from elsewhere into a HASH and says of each whether it was new, known or another
-- KEYS[1] meta: sequence
-- KEYS[2] rows: presets by name
-- ARGV[1] mode: `look` changes nothing, `add` writes new rows, `replace` also those that are known otherwise
-- ARGV[2..] row: name, value
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per row: added, same, differs or replaced}
-- complexity: O(rows)
-- durability: fsync
local now = clock(ARGV[#ARGV])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local reply, n, changed = { 'OK', seq, now }, 3, false
for i = 2, #ARGV - 2, 2 do
  local known, outcome = redis.call('HGET', KEYS[2], ARGV[i]), 'added'
  if known == ARGV[i + 1] then
    outcome = 'same'
  elseif known then
    outcome = ARGV[1] == 'replace' and 'replaced' or 'differs'
  end
  if ARGV[1] ~= 'look' and (outcome == 'added' or outcome == 'replaced') then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    changed = true
  end
  n = n + 1
  reply[n] = outcome
end
if changed then reply[2] = redis.call('HINCRBY', KEYS[1], 'seq', 1) end
return reply
