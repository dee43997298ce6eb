-- script: merge_usage
-- purpose: brings requests of one hour, counted elsewhere, and says of each model whether it was new, known or another
--    number. They have rows of their own, of client key `migrated`, so that the same hour never counts twice
-- KEYS[1] meta: sequence
-- KEYS[2] usage: counters of the hour
-- KEYS[3] hourly: those of its day, by hour and model
-- KEYS[4] daily: those of its day, by model and client key
-- ARGV[1] mode: `look` changes nothing, `add` writes new rows, `replace` also those that are known otherwise
-- ARGV[2] ends: when the hour may be forgotten, ms since the epoch, never sooner than before
-- ARGV[3] hour: in hours since the epoch
-- ARGV[4..] row: model, requests
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per row: added, same, differs or replaced} | {OVER, seq, now} when its end has passed
-- complexity: O(rows)
-- durability: fsync
local now, ends, hour = clock(ARGV[#ARGV]), tonumber(ARGV[2]), ARGV[3]
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if ends <= now then return { 'OVER', seq, now } end
local reply, n, changed = { 'OK', seq, now }, 3, false
for i = 4, #ARGV - 2, 2 do
  local model, requests = ARGV[i], ARGV[i + 1]
  local row, counts = model .. '\31unknown\31migrated', requests .. '|0|0|0|0|0'
  local known, outcome = redis.call('HGET', KEYS[2], row), 'added'
  if known == counts then
    outcome = 'same'
  elseif known then
    outcome = ARGV[1] == 'replace' and 'replaced' or 'differs'
  end
  if ARGV[1] ~= 'look' and (outcome == 'added' or outcome == 'replaced') then
    redis.call('HSET', KEYS[2], row, counts)
    local more = requests - (known and string.match(known, '^%d+') or 0)
    add_counts(KEYS[3], hour .. '\31' .. model, hour .. '\31other', DAY_OF_HOURS_LIFE, more, 0, 0, 0, 0, 0)
    add_counts(KEYS[4], model .. '\31migrated', model .. '\31other', DAY_LIFE, more, 0, 0, 0, 0, 0)
    changed = true
  end
  n = n + 1
  reply[n] = outcome
end
if changed then
  reply[2] = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  if redis.call('PTTL', KEYS[2]) < ends - now then redis.call('PEXPIRE', KEYS[2], ends - now) end
end
return reply
