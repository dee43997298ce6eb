-- script: count_accounts
-- purpose: how many accounts are in which state, and how many requests they serve
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] hot: selection records
-- KEYS[4..] model: limits of the models that the pool offers
-- ARGV[1] base: settings below the shared ones
-- ARGV[2] pinned: settings above them
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then how many accounts are, and how many requests they serve that are: available, busy (serve as
--    many as they may), limited (for each of the models), cooling, invalid, disabled, damaged (not to be read)}; of an
--    account to which several apply the last of these counts
-- complexity: O(accounts + settings) while most are free for the first model, else up to O(accounts * models)
-- durability: periodic
local now = clock(ARGV[3])
local most = load_settings(KEYS[2], ARGV[1], ARGV[2])['maxConcurrentPerAccount']
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
local AVAILABLE, BUSY, LIMITED, COOLING, INVALID, DISABLED, DAMAGED = 4, 6, 8, 10, 12, 14, 16
local pages = {}

-- Whether the account is limited for each of the models; the first that it is free for ends the search.
local function is_limited(seq)
  local place = seq % PAGE
  for k = 4, #KEYS do
    local known = pages[k]
    if not known then
      known = {}
      pages[k] = known
    end
    local page = known[seq - place]
    if not page then
      page = read_page(KEYS[k], seq)
      known[seq - place] = page
    end
    local why, rl = struct.unpack('<Bd', page, place * MODEL_BYTES + 1)
    if why <= MODEL_LAYOUT or why > MODEL_LAYOUT + #WHY or rl <= now then return false end
  end
  return #KEYS > 3
end

for _, text in ipairs(redis.call('HVALS', KEYS[3])) do
  local at, n = DAMAGED, 0
  if is_hot(text) then
    local head, seq, serves, cool = struct.unpack('<Bddd', text)
    local state = head % 16
    n = serves
    if state >= 8 then
      at = DISABLED
    elseif state > 0 then
      at = INVALID
    elseif cool > now then
      at = COOLING
    elseif is_limited(seq) then
      at = LIMITED
    elseif most > 0 and n >= most then
      at = BUSY
    else
      at = AVAILABLE
    end
  end
  reply[at] = reply[at] + 1
  reply[at + 1] = reply[at + 1] + n
end
return reply
