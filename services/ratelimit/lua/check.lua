-- Charges the limits of one request, all or nothing. It comes after counters.lua.
--
-- KEYS[i]  The counter of charge i, and after the counters the receipt, if one is wanted.
-- ARGV[1]  "charge", or "peek" to look without charging.
-- ARGV[2]  What takes slots.
-- ARGV[6i-3 .. 6i+2]  Of charge i: kind, shadow (1: counts, never denies), cost (0 looks as 1 would), and the kind's
--          parameters a, b, c.
-- ARGV[last-2 .. last]  With a receipt: how long it is kept if the request is allowed, and if it is denied, in
--          milliseconds; and a memo that is kept with it.
--
-- Result, whole numbers: the time that was decided at, and for each charge four more:
--   allowed (0 or 1), remaining, reset_after, retry_after (0 when allowed, and when it can never pass).
-- If that time is in none of the windows that a charge brings along, it is the only number, and nothing was charged.
--
-- A receipt holds "0" (given back: "1"), these numbers, a line feed, and the memo. If there is one already then it is the
-- result, and nothing is charged.
--
-- Every key that is written expires, once it says no more than no key would.

local STRIDE = 6

-- Adds the cost to a counter that has room for it.
local function add(charge)
  local kind, cost = charge.kind, charge.cost
  if kind == 'slots' then
    redis.call('ZREMRANGEBYSCORE', charge.key, '-inf', string.format('%.0f', now))
    for number = 1, cost do
      redis.call('ZADD', charge.key, string.format('%.0f', now + charge.b), ARGV[2] .. ':' .. number)
    end
    charge.remaining = charge.a - redis.call('ZCARD', charge.key)
    return
  elseif kind == 'bucket' then
    charge.used = charge.used + cost * charge.c
  else
    charge.used = charge.used + cost
  end
  charge.remaining = charge.remaining - cost
  if kind == 'sliding' then
    local at, kept = max(now, charge.at), charge.entries
    if floor(at / charge.c) == floor(charge.at / charge.c) then
      cost, kept = cost + charge.last_cost, string.sub(kept, 1, -ENTRY - 1)
    end
    charge.at, charge.entries = at, kept .. pack('<dd', at, cost)
  end
end

-- When there will be room for a cost for which there is none now.
local function room_at(charge)
  local kind, cost = charge.kind, max(charge.cost, 1)
  if kind == 'window' then
    return charge.at
  elseif kind == 'bucket' then
    return charge.at + ceil((charge.used + cost * charge.c - charge.a * charge.c) / charge.b)
  elseif kind == 'sliding' then
    local excess = charge.used + cost - charge.a
    for first = 1, #charge.entries, ENTRY do
      local at, entry_cost = doubles('<dd', charge.entries, first)
      if entry_cost >= excess then
        return at + charge.b
      end
      excess = excess - entry_cost
    end
  end
  local in_the_way = charge.used + cost - charge.a
  return tonumber(redis.call('ZRANGE', charge.key, after(now), '+inf', 'BYSCORE', 'LIMIT', in_the_way - 1, 1, 'WITHSCORES')[2])
end

local counters = floor((#ARGV - 2) / STRIDE)
local receipt = KEYS[counters + 1]
local known = receipt and redis.call('GET', receipt)
if known then
  return known
end

local values = redis.call('MGET', unpack(KEYS, 1, counters))
local charges, charging, denied = {}, ARGV[1] == 'charge', false
for index = 1, counters do
  local first = STRIDE * index - 3
  local charge = {
    key = KEYS[index],
    kind = ARGV[first],
    cost = tonumber(ARGV[first + 2]),
    a = tonumber(ARGV[first + 3]),
    b = tonumber(ARGV[first + 4]),
    c = tonumber(ARGV[first + 5]),
  }
  if charge.kind == 'window' and charge.b >= 0 and (now < charge.b or now >= charge.c) then
    return { now }
  end
  open(charge, values[index], now)
  charge.allowed = max(charge.cost, 1) <= charge.remaining
  denied = denied or not (charge.allowed or ARGV[first + 1] == '1')
  charges[index] = charge
end

local result = { now }
for index, charge in ipairs(charges) do
  local expires, retry_after
  if charging and charge.allowed and not denied and charge.cost > 0 then
    add(charge)
    expires = keep(charge, now)
  else
    expires = expires_at(charge)
  end
  if not charge.allowed and (charge.cost <= charge.a or charge.a == 0) then
    retry_after = room_at(charge) - now
  end
  local place = 4 * index
  result[place - 2] = charge.allowed and 1 or 0
  result[place - 1] = charge.remaining
  result[place] = max(expires - now, 0)
  result[place + 1] = retry_after or 0
end

if receipt and charging then
  local numbers = { '0' }
  for place, number in ipairs(result) do
    numbers[place + 1] = string.format('%.0f', number)
  end
  local kept_ms = denied and ARGV[#ARGV - 1] or ARGV[#ARGV - 2]
  redis.call('SET', receipt, table.concat(numbers, ' ') .. '\n' .. ARGV[#ARGV], 'PX', kept_ms)
end
return result
