-- Counters of requests: rows `requests|input|output|cache read|thinking|latency ms`, sums all. Each request is counted
-- in three HASHes: `usage:<hour>`, field `model\31status\31client key`; `hourly:<day>`, field `hour\31model`, for what
-- is asked again and again; `daily:<day>`, field `model\31client key`, which is kept longest.
local COUNTS = '^(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)$'
local HOUR_LIFE, DAY_OF_HOURS_LIFE, DAY_LIFE = 2592000000, 2678400000, 7776000000

-- Adds to a row of a HASH that lives `life` ms from its first row on. Behind the ten-thousandth, what would be a new
-- row is counted under `spare`. A row that cannot be read is as good as lost.
local function add_counts(key, row, spare, life, requests, input, output, cached, thinking, latency)
  local text, first = redis.call('HGET', key, row), false
  if not text then
    local rows = redis.call('HLEN', key)
    first = rows == 0
    if rows >= 10000 then
      row = spare
      text = redis.call('HGET', key, row)
    end
  end
  local a, b, c, d, e, f
  if text then a, b, c, d, e, f = string.match(text, COUNTS) end
  if not a then a, b, c, d, e, f = 0, 0, 0, 0, 0, 0 end
  redis.call('HSET', key, row, string.format('%d|%d|%d|%d|%d|%d', math.max(0, a + requests), b + input, c + output,
    d + cached, e + thinking, f + latency))
  if first then redis.call('PEXPIRE', key, life) end
end

-- Counts one request. From ARGV[at] on: model, status class, client key, hour, then what its row grows by.
local function count_usage(of_hour, of_hours, of_day, at)
  local model, status, key, hour, input, output, cached, thinking, latency = unpack(ARGV, at)
  add_counts(of_hour, model .. '\31' .. status .. '\31' .. key, model .. '\31' .. status .. '\31other', HOUR_LIFE, 1,
    input, output, cached, thinking, latency)
  add_counts(of_hours, hour .. '\31' .. model, hour .. '\31other', DAY_OF_HOURS_LIFE, 1, input, output, cached,
    thinking, latency)
  add_counts(of_day, model .. '\31' .. key, model .. '\31other', DAY_LIFE, 1, input, output, cached, thinking, latency)
end
