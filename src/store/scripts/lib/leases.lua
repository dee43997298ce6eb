-- Live leases of the pool: one ZSET, member `<account>/<lease>`, score its end in ms. The hot
-- record's count is the number of an account's members.
local function change_in_flight(hot, id, by)
  local text = redis.call('HGET', hot, id)
  if not text then return end
  local a = read_hot(text)
  a.n = math.max(0, a.n + by)
  write_hot(hot, id, a)
end

-- Drops leases whose holder stopped renewing them, at most `cap` in one call; answers how many.
local function lapse_leases(leases, hot, now, cap)
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, cap)
  for _, member in ipairs(dead) do
    redis.call('ZREM', leases, member)
    change_in_flight(hot, string.match(member, '^([^/]*)/'), -1)
  end
  return #dead
end
