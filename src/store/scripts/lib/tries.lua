-- What was tried at the console's door, in one HASH per peer, by a mark of the credential: 1 what is known of it (`p`: it
-- is being tried, `w`: it is wrong), 2 when it counted last (ms), 3 when it was told in the trail last (ms), 4 generation
-- of the console that it was wrong for. Kept for an hour.
local TRIES_KEPT = 3600000

-- All tries that are kept, by mark.
local function read_tries(key, now)
  local rows, tries = redis.call('HGETALL', key), {}
  for i = 1, #rows, 2 do
    local try = split(rows[i + 1])
    if #try ~= 4 or elapsed(now, tonumber(try[2])) >= TRIES_KEPT then
      redis.call('HDEL', key, rows[i])
    else
      tries[rows[i]] = try
    end
  end
  return tries
end

-- How many of them count within the window, and when the first of those did.
local function counting(tries, window, now)
  local count, first = 0, now
  for _, try in pairs(tries) do
    local at = tonumber(try[2])
    if elapsed(now, at) < window then
      count = count + 1
      if at < first then first = at end
    end
  end
  return count, first
end

local function write_try(key, mark, try)
  redis.call('HSET', key, mark, table.concat(try, '\31'))
  redis.call('PEXPIRE', key, TRIES_KEPT)
end
