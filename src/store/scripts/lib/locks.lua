-- A lock is a STRING `<end in ms>|<owner>`, with `|pause` behind it when nobody is at the work until then; its own end
-- counts, the key's expiry only cleans up.
local PAUSE = '|pause'

local function lock_state(key, now)
  local text = redis.call('GET', key)
  if not text then return nil, 0 end
  local ends, owner, rest = string.match(text, '^(%d+)|([^|]*)(.*)$')
  local left = tonumber(ends) - now
  if left <= 0 then return nil, 0 end
  return owner, left, rest == PAUSE
end

local function take_lock(key, owner, ms, now)
  redis.call('SET', key, (now + ms) .. '|' .. owner, 'PX', math.max(1, ms))
end
