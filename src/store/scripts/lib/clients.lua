-- A client key's record in the HASH `keys`, layout 1: 1 layout, 2 name, 3 SHA-256 of the secret (hex), 4 made at (ms),
-- 5 expires at (ms, empty for never), 6 models (space between, empty for all), 7 revoked at (ms, empty), 8 SHA-256 of
-- the secret before the last rotation (empty), 9 until when that one is good (ms). Later layouts append only; what is
-- behind these fields is kept as it is. Nil for what cannot be read: nobody gets in with it.
local function read_client(text)
  local fields = text and split(text) or {}
  return #fields >= 9 and fields or nil
end

-- The id of the key in force that has this name.
local function client_named(records, name)
  for i = 1, #records, 2 do
    local fields = read_client(records[i + 1])
    if fields and fields[2] == name and fields[7] == '' then return records[i] end
  end
  return nil
end

-- An end as callers give it: ms since the epoch, or `+` and ms from now; empty stays empty.
local function ending(text, now)
  if text == '' then return '' end
  return exact(string.sub(text, 1, 1) == '+' and now + tonumber(text) or tonumber(text))
end

-- Makes a change known: every gateway reads the keys anew.
local function clients_changed(meta, channel, seq)
  local generation = redis.call('HINCRBY', meta, 'gen:keys', 1)
  redis.call('PUBLISH', channel, 'keys ' .. generation .. ' ' .. seq)
  return generation
end
