-- Charges the limits of one request, all or nothing. The arithmetic is that of the crate ratelimit-core, whose documents
-- tell why it is exact: all values are whole numbers below 2^53.
--
-- KEYS[i]  The counter of charge i. Its value is "<level>:<at>", two whole numbers:
--            fixed_window: what is used of the window, and when it opened
--            token_bucket: the debt in units of 1/per of a token, and when it was that much
-- ARGV[1]  1 to look without charging, 0 to charge.
-- ARGV[6i-4 .. 6i+1]  Of charge i: algorithm, shadow (1: counts, never denies), cost, and three parameters:
--            fixed_window: limit, period in microseconds, 0
--            token_bucket: burst, refill in units a microsecond, units of a token (per)
--
-- Result, whole numbers: the time in microseconds that was decided at, and for each charge four more:
--   allowed (0 or 1), remaining, reset_after in microseconds,
--   retry_after in microseconds (0 when allowed, and when it can never pass).
--
-- Every key that is written expires, once it says no more than no key would.

local STRIDE = 6

local fixed_window = {}

function fixed_window.read(charge, now, limit, period)
  charge.limit, charge.period = limit, period
  if not charge.level or now >= charge.at + period then
    charge.level, charge.at = 0, now
  end
end

function fixed_window.has_room(charge)
  return charge.level + charge.cost <= charge.limit
end

function fixed_window.add(charge)
  charge.level = charge.level + charge.cost
end

function fixed_window.describe(charge, now)
  local ends_in = charge.at + charge.period - math.max(now, charge.at)
  local reset_after, retry_after = 0, 0
  if charge.level > 0 then
    reset_after = ends_in
  end
  if not charge.allowed and (charge.cost <= charge.limit or charge.limit == 0) then
    retry_after = ends_in
  end
  return math.max(charge.limit - charge.level, 0), reset_after, retry_after
end

local token_bucket = {}

function token_bucket.read(charge, now, burst, refill, per)
  charge.burst, charge.refill, charge.per = burst, refill, per
  if not charge.level then
    charge.level, charge.at = 0, now
    return
  end
  local elapsed = math.max(now - charge.at, 0)
  if elapsed >= math.ceil(charge.level / refill) then
    charge.level = 0
  else
    charge.level = charge.level - elapsed * refill
  end
  charge.at = math.max(now, charge.at)
end

function token_bucket.has_room(charge)
  return charge.cost <= charge.burst and charge.level + charge.cost * charge.per <= charge.burst * charge.per
end

function token_bucket.add(charge)
  charge.level = charge.level + charge.cost * charge.per
end

function token_bucket.describe(charge)
  local left = math.max(charge.burst * charge.per - charge.level, 0)
  local retry_after = 0
  if not charge.allowed and charge.cost <= charge.burst then
    retry_after = math.ceil((charge.cost * charge.per - left) / charge.refill)
  end
  return math.floor(left / charge.per), math.ceil(charge.level / charge.refill), retry_after
end

local algorithms = { fixed_window = fixed_window, token_bucket = token_bucket }

local function read(index, value, now)
  local first = 2 + STRIDE * (index - 1)
  local charge = {
    algorithm = algorithms[ARGV[first]],
    shadow = ARGV[first + 1] == '1',
    cost = tonumber(ARGV[first + 2]),
  }
  if value then
    local level, at = string.match(value, '^(%d+):(%d+)$')
    charge.level, charge.at = tonumber(level), tonumber(at)
  end
  charge.algorithm.read(charge, now, tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4]), tonumber(ARGV[first + 5]))
  charge.allowed = charge.algorithm.has_room(charge)
  return charge
end

-- %.0f, because Lua's own way of writing a number keeps 14 digits only. A millisecond is added to the expiry since
-- Redis expires by whole ones.
local function write(key, charge, now)
  charge.algorithm.add(charge)
  local _, reset_after = charge.algorithm.describe(charge, now)
  local expires_in = reset_after + math.max(charge.at - now, 0)
  local value = string.format('%.0f:%.0f', charge.level, charge.at)
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(expires_in / 1000) + 1))
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local values = redis.call('MGET', unpack(KEYS))
local charges = {}
local charging = ARGV[1] == '0'
for index = 1, #KEYS do
  charges[index] = read(index, values[index], now)
  charging = charging and (charges[index].shadow or charges[index].allowed)
end

local result = { now }
for index, charge in ipairs(charges) do
  if charging and charge.allowed then
    write(KEYS[index], charge, now)
  end
  local remaining, reset_after, retry_after = charge.algorithm.describe(charge, now)
  result[#result + 1] = charge.allowed and 1 or 0
  result[#result + 1] = remaining
  result[#result + 1] = reset_after
  result[#result + 1] = retry_after
end
return result
