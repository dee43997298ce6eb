-- Time in ms: the argument when a test gives one, else the server's own. Read once per script.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Ms from `since` to `now`; a clock that stepped back counts as standing still.
local function elapsed(now, since)
  return math.max(0, now - since)
end

-- A number that is read back unchanged.
local function exact(number)
  return string.format('%.17g', number)
end
