-- Per-model quota thresholds: the account's record holds its own list, the HASH `th` turns it round for
-- selection: model -> `number=fraction number=fraction`, by the accounts' numbers.
local function index_thresholds(key, number, packed)
  local wanted = {}
  for model, fraction in string.gmatch(packed, '([^ =]+)=([^ ]+)') do wanted[model] = fraction end
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
