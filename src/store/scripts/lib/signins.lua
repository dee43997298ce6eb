-- A sign-in's record in the HASH `signins`, by its state, layout 1:
-- 1 layout, 2 phase (pending, taken, completed, failed), 3 begun at (ms), 4 ends at (ms), 5 sealed verifier,
-- 6 redirect address, 7 expected e-mail, 8 who completes it, 9 until when (ms), 10 what came of it, 11 of whom
local function read_signin(key, state, now)
  local text = redis.call('HGET', key, state)
  if not text then return nil end
  local signin = split(text)
  if signin[1] ~= '1' or #signin ~= 11 then error('sign-in of unknown layout') end
  if tonumber(signin[4]) <= now then return nil end
  return signin
end

-- The key's expiry only cleans up: no record lives longer.
local function write_signin(key, state, signin)
  redis.call('HSET', key, state, table.concat(signin, '\31'))
  redis.call('PEXPIRE', key, 1200000)
end

-- Whether its completion is under way.
local function is_taken(signin, now)
  return signin[2] == 'taken' and tonumber(signin[9]) > now
end
