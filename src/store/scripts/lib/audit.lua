-- The audit trail: ZSETs of records by their number, of which `meta` counts one sequence for all. What operators did is in
-- `audit`; what strangers tried is in `audit:strangers`, so that they cannot push anything else out. A record, layout 1:
-- 1 number, 2 layout, 3 when (ms), 4 sequence, 5 generation that the change made (empty), 6 what it is about (empty: as in
-- the JSON), 7 what was there before (name and value in turn, byte 30 between), 8 who did what, as JSON (`audit.rs`).
-- The newest are kept, for 90 days; of what is older, the oldest goes with each new one.
local function audited(meta, key, most, row, seq, now, generation, about, before)
  if row == '' then return end
  local number = redis.call('HINCRBY', meta, 'audit', 1)
  redis.call('ZADD', key, number, table.concat({ number, '1', exact(now), seq, generation, about, before, row }, '\31'))
  redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
  local oldest = redis.call('ZRANGE', key, 0, 0)[1]
  if elapsed(now, tonumber(split(oldest)[3])) > 7776000000 then redis.call('ZREM', key, oldest) end
end

-- What a stranger tried.
local function audit_stranger(meta, key, row, seq, now)
  audited(meta, key, 1000, row, seq, now, '', '', '')
end

-- A change that an operator made.
local function audit(meta, key, row, seq, now, generation, about, before)
  audited(meta, key, 10000, row, seq, now, generation, about, before)
end
