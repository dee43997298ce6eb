-- Per-model quota thresholds, as an account's record holds them: `model=fraction`, space between.
local function models_of(packed)
  local fractions = {}
  for model, fraction in string.gmatch(packed, '([^ =]+)=([^ ]*)') do fractions[model] = fraction end
  return fractions
end

-- `packed` with `changes` made, of which `model=` takes a model away.
local function change_models(packed, changes)
  local changed, rows = models_of(changes), {}
  for model, fraction in string.gmatch(packed .. ' ' .. changes, '([^ =]+)=([^ ]*)') do
    local now = changed[model] or fraction
    if now ~= '' then rows[#rows + 1] = model .. '=' .. now end
    -- It is said once.
    changed[model] = ''
  end
  return table.concat(rows, ' ')
end

-- The HASH `th` turns them round for selection: model -> `number=fraction number=fraction`, by the accounts' numbers.
local function index_thresholds(key, number, packed)
  local wanted = models_of(packed)
  local rows = redis.call('HGETALL', key)
  for i = 1, #rows, 2 do
    local model, kept, had = rows[i], {}, nil
    for other, fraction in string.gmatch(rows[i + 1], '([^ =]+)=([^ ]+)') do
      if tonumber(other) == number then had = fraction else kept[#kept + 1] = other .. '=' .. fraction end
    end
    if wanted[model] then kept[#kept + 1] = number .. '=' .. wanted[model] end
    if wanted[model] ~= had then
      if #kept > 0 then
        redis.call('HSET', key, model, table.concat(kept, ' '))
      else
        redis.call('HDEL', key, model)
      end
    end
    wanted[model] = nil
  end
  for model, fraction in string.gmatch(packed, '([^ =]+)=([^ ]+)') do
    if wanted[model] then redis.call('HSET', key, model, number .. '=' .. fraction) end
  end
end
