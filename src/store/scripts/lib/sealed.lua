-- A sealed secret is `v1.<key id>.<data>`; what the scripts know of it is the key's id.
local function key_of(sealed)
  return string.match(sealed, '^v1%.(%x+)%.')
end

-- Counts by key what the HASH of credentials holds, and what that of tokens does.
local function count_keys(credentials, tokens)
  local counts = {}
  local function count(sealed)
    local key = key_of(sealed)
    if key then counts[key] = (counts[key] or 0) + 1 end
  end
  for _, sealed in ipairs(redis.call('HVALS', credentials)) do count(sealed) end
  if tokens then
    for _, text in ipairs(redis.call('HVALS', tokens)) do count(read_token(text).sealed) end
  end
  return counts
end
