-- What is told of an account, but for its limits: 29 values behind what `reply` holds, in the order that list_accounts
-- names. `at` has the keys of acct, hot, inv, tok and quota by these names. Answers the selection record; nil, and
-- tells nothing, when a record is damaged.
local function describe(reply, at, id, s, now)
  local account, a = redis.call('HGET', at.acct, id), redis.call('HGET', at.hot, id)
  if not is_account(account) or not is_hot(a) then return nil end
  account, a = read_account(account), read_hot(a)
  local token = read_token(redis.call('HGET', at.tok, id))
  local invalid = split(redis.call('HGET', at.inv, id) or '\31')
  local n = #reply
  local function put(value)
    n = n + 1
    reply[n] = value
  end
  put(id)
  for f = 2, 14 do put(account[f]) end
  put(a.en)
  put(REASONS[a.inv] or '')
  put(a.inv == 0 and '' or invalid[1])
  put(a.inv == 0 and '' or invalid[2])
  put(a.cv)
  put(a.n)
  put(a.c)
  put(math.max(0, a.cool - now))
  put(a.lu)
  put(exact(health_of(a, now, s)))
  put(exact(tokens_of(a, now, s)))
  put(threshold_of(a))
  put(a.cf)
  put(token_is_fresh(token, a.cv, now) and token.ends - now or 0)
  put(redis.call('HGET', at.quota, id) or '')
  return a
end
