#!/usr/bin/env bash
# shellcheck disable=SC2034 # lib.sh and the scripts read what is set here
# Servers that Millrace is compared with, and their load; sourced behind lib.sh, not run.

flag rounds 5 1 'Rounds.'
flag players 500 20 'Players.'
flag kbps 1000 1000 'Bit rate of the stream.'
flag time 10 1 'Seconds of each row.'
flag drain-ms 30 30 'How often players that are not verified read.'
flag mss 0 0 'Largest TCP segment, such as 1448 on Ethernet; 0: the kernel chooses.'
own_columns=server,round

module=/usr/lib/nginx/modules/ngx_rtmp_module.so

# The row of server $1 in round $2.
load_peer() {
  run_load "$1-$2" "$1,$2" --players "$players" --kbps "$kbps" --time "$time" \
    --drain-ms "$drain_ms" --mss "$mss"
  [ "$(of_load "$1-$2" valid)" = true ] || broken "$1-$2: the load generator had not the time"
}

# Ends the script where there is no nginx with its RTMP module.
need_nginx() {
  [ -e "$module" ] || wrong 'nginx is missing: apt-get install nginx libnginx-mod-rtmp'
  note "nginx: $(nginx -v 2>&1), libnginx-mod-rtmp $(dpkg-query -W -f '${Version}' libnginx-mod-rtmp 2>/dev/null || true)"
}

# Starts a floor or an nginx on the server's CPUs; sets measured_pid and server_address.
start_floor() {
  # The line of the floor before is not taken for the one of this.
  : > "$out/floor.log"
  "${on_server_cpus[@]}" "$generator" floor --policy ride --listen 127.0.0.1:0 \
    --time $((time + 300)) > "$out/floor.log" 2>&1 &
  measured_pid=$!
  pids+=("$measured_pid")
  wait_for 'the floor' 20 grep -q 'listening on ' "$out/floor.log"
  server_address=$(sed -n 's/.*listening on //p' "$out/floor.log" | head -n 1)
}

start_nginx() {
  local port
  # nginx takes no port 0: one outside the range of the kernel's own choices that is free.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$((10000 + RANDOM % 20000))
    nginx_config "$port" > "$out/nginx.conf"
    "${on_server_cpus[@]}" nginx -p "$out" -c "$out/nginx.conf" 2> "$out/nginx.start" &
    measured_pid=$!
    pids=("$measured_pid")
    if wait_for_nginx "$port"; then
      server_address=127.0.0.1:$port
      return
    fi
    stop_other
  done
  echo "$script.sh: nginx does not start:" >&2
  tail -n 3 "$out/nginx.start" >&2
  exit 1
}

nginx_config() { # PORT
  local connections=$(($(ulimit -Hn) - 128))
  cat <<CONFIG
load_module $module;
daemon off;
master_process off;
pid $out/nginx.pid;
error_log $out/nginx.log error;
worker_rlimit_nofile $(ulimit -Hn);
events { worker_connections $connections; }
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:$1;
    application live { live on; }
  }
}
CONFIG
}

# Whether the port is listened to by the process that was started; not if that has ended.
wait_for_nginx() {
  local tries=200
  until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ] || ! kill -0 "$measured_pid" 2>/dev/null; then return 1; fi
    sleep 0.05
  done
  # Somebody else's port would answer too: nginx then ends with an error.
  sleep 0.2
  kill -0 "$measured_pid" 2>/dev/null
}

stop_other() {
  end_process "$measured_pid"
  pids=()
}
