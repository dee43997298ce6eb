-- What is counted in the hot records: live leases (`n`) in the ZSET `leases`, live conversations (`c`) in the ZSET
-- `convs`. A member is `<account>/<lease or conversation>`, its score its end in ms. The member `#` never ends: where
-- it is missing the key is new or was lost, and `recount` brings key and counts together again.
local function change_count(hot, id, field, by)
  local text = redis.call('HGET', hot, id)
  if not is_hot(text) then return end
  local a = read_hot(text)
  a[field] = math.max(0, a[field] + by)
  write_hot(hot, id, a)
end

-- Makes the counts those of the members, if the key is new or was lost.
local function recount(key, hot, field)
  if redis.call('ZADD', key, 9007199254740991, '#') == 0 then return end
  local counts = {}
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local id = string.match(member, '^([^/]*)/') or ''
    counts[id] = (counts[id] or 0) + 1
  end
  local rows = redis.call('HGETALL', hot)
  for i = 1, #rows, 2 do
    local count = counts[rows[i]] or 0
    -- A damaged record must not keep the others from being counted.
    local a = is_hot(rows[i + 1]) and read_hot(rows[i + 1])
    if a and a[field] ~= count then
      a[field] = count
      write_hot(hot, rows[i], a)
    end
  end
end

-- Drops members that were not renewed, at most `cap` in one call; answers how many.
local function lapse(key, hot, field, now, cap)
  -- Mostly there are none, and to count is cheaper than to list.
  if redis.call('ZCOUNT', key, '-inf', now) == 0 then return 0 end
  local dead = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, cap)
  for _, member in ipairs(dead) do
    redis.call('ZREM', key, member)
    change_count(hot, string.match(member, '^([^/]*)/'), field, -1)
  end
  return #dead
end
