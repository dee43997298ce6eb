-- An account's record in the HASH `tok`, layout 1: generation, credential version, end in ms, sealed
-- token. The generation only grows; a dropped token leaves its generation behind. A record that is damaged is as good
-- as lost: the next token takes its place.
local function read_token(text)
  local gen, cv, ends, sealed = string.match(text or '', '^1|(%d+)|(%d+)|(%d+)|(.*)$')
  if not gen then return { gen = 0, cv = 0, ends = 0, sealed = '' } end
  return { gen = tonumber(gen), cv = tonumber(cv), ends = tonumber(ends), sealed = sealed }
end

local function write_token(key, id, t)
  redis.call('HSET', key, id, table.concat({ '1', t.gen, t.cv, t.ends, t.sealed }, '|'))
end

local function token_is_fresh(t, cv, now)
  return t.sealed ~= '' and t.cv == cv and t.ends > now
end
