-- Claims one job by its id, due or not, unless it is running.
--
-- KEYS: claims, lost, epoch, aborts, events, progress, then every queue.
-- ARGV: id, token, lease (ms), now (ms; '' = the server's), most events kept, then the name of every queue.
-- Returns the epoch, and where it was claimed: queue key, and the job as claim.lua gives it.
local id, lease, now = ARGV[1], tonumber(ARGV[3]), clock(ARGV[4])
redis.call('SET', KEYS[3], ARGV[2], 'NX')
local epoch = redis.call('GET', KEYS[3])
local lease_end = string.format('%d.5', now + lease)
for i = 7, #KEYS do
  local score = redis.call('ZSCORE', KEYS[i], id)
  -- Negative: only the mark of a job that has moved on.
  if score and tonumber(score) >= 0 then
    local is_lease = string.find(score, '.5', 1, true)
    if is_lease and tonumber(score) > now then
      return {epoch}
    end
    if not is_lease and redis.call('HEXISTS', KEYS[1], id) == 1 then
      -- Stock Job.abort() has put it in front while it is running, see claim.lua.
      redis.call('ZADD', KEYS[i], lease_end, id)
      return {epoch}
    end
    local token = epoch .. ' ' .. ARGV[2]
    redis.call('ZADD', KEYS[i], lease_end, id)
    redis.call('HSET', KEYS[1], id, token)
    redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease)
    redis.call('PERSIST', 'arq:job:' .. id)
    if is_lease then
      redis.call('HSET', KEYS[2], id, (tonumber(redis.call('HGET', KEYS[2], id) or 0) or 0) + 1)
      redis.call('HDEL', KEYS[6], id)
    end
    local kept = redis.call('MGET', 'arq:job:' .. id, 'arq:retry:' .. id, 'indostar:memory:' .. id)
    local lost = redis.call('HGET', KEYS[2], id)
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'kind', 'started', 'at', string.format('%d', now),
      'by', ARGV[2], 'queue', ARGV[i - 1], 'job:' .. id, kept[1] and score .. ' ' .. kept[1] or '')
    return {epoch, KEYS[i], id, score, kept[1], kept[2], kept[3], lost, redis.call('ZSCORE', KEYS[4], id)}
  end
end
return {epoch}
