-- Decides about a batch of requests, one after the other, and charges the limits of each, all or nothing. It comes after
-- counters.lua. All are decided at one moment, and each counter is read and written once for all of them.
--
-- KEYS     The counters, and then the receipts.
-- ARGV[1]  How many counters there are (I2).
-- ARGV[i+1]  Of counter i: kind (B) and its parameters a, b and c.
-- ARGV[..] Of each request: 1 to charge or 0 to look (B), the place of its receipt among all keys or 0 (I2), and for each
--          charge the place of its counter (I2), whether it is in shadow, that is counts and never denies (B), the cost
--          (0 looks as 1 would), and how much more may be leased.
--          If it charges slots or has a receipt, three more: what takes the slots; how long the receipt is kept if the
--          request is allowed, and if it is denied, in milliseconds; and a memo that is kept with it.
--
-- Result   The time that was decided at, and of each request a string: "D" if it was decided now, or "K" if there is a
--          receipt already, which is the answer then, and nothing is charged. After "D", for each charge: whether it is
--          allowed (B), remaining, reset_after, retry_after (0 when allowed, and when it can never pass), what was leased,
--          and for how long. A receipt is "0" (given back: "1"), the time, how many charges there are (I2), the same for
--          each of them, and the memo.
--          If the time is in none of the windows that a counter brings along, it is alone, and nothing was charged.
--
-- Every key that is written expires, once it says no more than no key would.

-- Nobody may lease more than this part of what remains, so that near the limit leases get small.
local LEASED_PART = 4

local argument = 1

local function next_argument()
  argument = argument + 1
  return ARGV[argument]
end

-- Counts a cost for which there is room, as charged at that time.
local function add(counter, cost, at, slot)
  local kind = counter.kind
  counter.changed = true
  if kind == SLOTS then
    redis.call('ZREMRANGEBYSCORE', counter.key, '-inf', string.format('%.0f', now))
    for number = 1, cost do
      redis.call('ZADD', counter.key, string.format('%.0f', now + counter.b), slot .. ':' .. number)
    end
    counter.used = redis.call('ZCARD', counter.key)
    counter.remaining = counter.a - counter.used
    return
  end
  counter.used = counter.used + (kind == BUCKET and cost * counter.c or cost)
  if kind == BUCKET then
    counter.remaining = floor((counter.a * counter.c - counter.used) / counter.c)
  else
    counter.remaining = counter.a - counter.used
  end
  if kind == SLIDING then
    local kept, entry_cost = counter.entries, cost
    at = max(at, counter.at)
    if floor(at / counter.c) == floor(counter.at / counter.c) then
      kept, entry_cost = string.sub(kept, 1, -ENTRY - 1), cost + counter.last_cost
    end
    counter.at, counter.last_cost, counter.entries = at, entry_cost, kept .. pack('<dd', at, entry_cost)
  end
end

-- Takes tokens to be spent later: how many, and until when. They are charged so that no promise is broken whenever they
-- are spent until then (ratelimit-core tells why).
local function lease(counter, wanted, used_before)
  local kind, tokens = counter.kind, min(wanted, floor(counter.remaining / LEASED_PART))
  local until_when = counter.at
  if kind == SLIDING then
    until_when = now + counter.c
  elseif kind == BUCKET then
    until_when = now + floor(used_before / counter.b)
  end
  if tokens == 0 or until_when <= now or kind == SLOTS then
    return 0, 0
  end
  add(counter, tokens, until_when)
  return tokens, until_when - now
end

-- When there will be room for a cost for which there is none now.
local function room_at(counter, cost)
  local kind = counter.kind
  if kind == WINDOW then
    return counter.at
  elseif kind == BUCKET then
    return counter.at + ceil((counter.used + cost * counter.c - counter.a * counter.c) / counter.b)
  end
  local excess = counter.used + cost - counter.a
  if kind == SLIDING then
    for first = 1, #counter.entries, ENTRY do
      local at, entry_cost = unpack_packed('<dd', counter.entries, first)
      if entry_cost >= excess then
        return at + counter.b
      end
      excess = excess - entry_cost
    end
  end
  return tonumber(
    redis.call('ZRANGE', counter.key, after(now), '+inf', 'BYSCORE', 'LIMIT', excess - 1, 1, 'WITHSCORES')[2]
  )
end

local counters_count = unpack_packed('<I2', ARGV[1])
local values = redis.call('MGET', unpack(KEYS, 1, counters_count))
local counters = {}
for place = 1, counters_count do
  local counter = open(KEYS[place], next_argument(), values[place])
  if counter.kind == WINDOW and counter.b >= 0 and (now < counter.b or now >= counter.c) then
    return { pack('<d', now) }
  end
  counters[place] = counter
end

local results = { pack('<d', now) }
while argument < #ARGV do
  local request = next_argument()
  local charging, receipt, position = unpack_packed('<BI2', request)
  local count, denied, takes_slots = floor((#request - 3) / 19), false, false
  for charge = 0, count - 1 do
    local place, shadow, cost = unpack_packed('<I2Bd', request, position + 19 * charge)
    local counter = counters[place]
    takes_slots = takes_slots or counter.kind == SLOTS
    denied = denied or shadow == 0 and max(cost, 1) > counter.remaining
  end
  local slot, kept_ms, memo
  if takes_slots or receipt > 0 then
    slot, kept_ms, memo = next_argument(), next_argument(), next_argument()
  end
  local known = receipt > 0 and redis.call('GET', KEYS[receipt])
  if known then
    results[#results + 1] = 'K' .. known
  else
    local told = ''
    for charge = 0, count - 1 do
      local place, _, cost, leased = unpack_packed('<I2Bdd', request, position + 19 * charge)
      local counter = counters[place]
      local allowed, retry_after, leased_for = max(cost, 1) <= counter.remaining, 0, 0
      local tokens = 0
      if allowed and charging == 1 and not denied and cost > 0 then
        local used_before = counter.used
        add(counter, cost, now, slot)
        if leased > 0 then
          tokens, leased_for = lease(counter, leased, used_before)
        end
      elseif not allowed and (max(cost, 1) <= counter.a or counter.a == 0) then
        retry_after = room_at(counter, max(cost, 1)) - now
      end
      told = told
        .. pack(
          '<Bddddd',
          allowed and 1 or 0,
          counter.remaining,
          max(expires_at(counter) - now, 0),
          retry_after,
          tokens,
          leased_for
        )
    end
    if receipt > 0 and charging == 1 then
      local kept_if_allowed, kept_if_denied = unpack_packed('<dd', kept_ms)
      local left_ms = denied and kept_if_denied or kept_if_allowed
      redis.call('SET', KEYS[receipt], '0' .. pack('<dI2', now, count) .. told .. memo, 'PX', left_ms)
    end
    results[#results + 1] = 'D' .. told
  end
end

for place = 1, counters_count do
  if counters[place].changed then
    keep(counters[place])
  end
end
return results
