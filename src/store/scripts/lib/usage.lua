-- Counters of one hour: a HASH, field `model\31status class\31client key`, value `requests|input|output|
-- cache read|thinking|latency ms`. Behind the ten-thousandth row, new rows are counted together.
local function count_usage(key, row, first)
  local text = redis.call('HGET', key, row)
  if not text and redis.call('HLEN', key) >= 10000 then
    row = 'other\31' .. split(row)[2] .. '\31other'
    text = redis.call('HGET', key, row)
  end
  local sums, n = { 1 }, 1
  for i = first, first + 4 do
    n = n + 1
    sums[n] = tonumber(ARGV[i])
  end
  if text then
    n = 0
    for number in string.gmatch(text, '[^|]+') do
      n = n + 1
      sums[n] = sums[n] + tonumber(number)
    end
  end
  redis.call('HSET', key, row, table.concat(sums, '|'))
  if not text then redis.call('PEXPIRE', key, 2592000000) end
end
