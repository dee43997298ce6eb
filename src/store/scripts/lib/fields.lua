-- Records of text fields are joined by byte 31, lists of such records by byte 30; wrappers refuse
-- control characters in what they send.
local function split(text)
  local fields, n = {}, 0
  for field in string.gmatch(text .. '\31', '([^\31]*)\31') do
    n = n + 1
    fields[n] = field
  end
  return fields
end

-- An account's record in the HASH `acct`, layout 1: what selection does not read.
-- 1 layout, 2 seq, 3 email, 4 source, 5 project, 6 managed project, 7 session, 8 added at (ms),
-- 9 tier, 10 tier's project, 11 tier seen at (ms), 12 database path, 13 version,
-- 14 model thresholds (`model=fraction`, space between)
-- Of the record, source, project, managed project and session.
local SERVED = '^1\31[^\31]*\31[^\31]*\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31[^\31]*\31[^\31]*\31[^\31]*\31[^\31]*\31[^\31]*\31[^\31]*\31[^\31]*$'

-- Whether the record can be read.
local function is_account(text)
  return text and string.find(text, SERVED)
end

local function read_account(text)
  if not is_account(text) then error('account record of unknown layout') end
  return split(text)
end

-- The address of an account whose record cannot be read, empty without one.
local function address_of(emails, id)
  local rows = redis.call('HGETALL', emails)
  for i = 2, #rows, 2 do
    if rows[i] == id then return rows[i - 1] end
  end
  return ''
end

local function write_account(fields)
  return table.concat(fields, '\31')
end
