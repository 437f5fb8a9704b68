# What controllers before the lock's record run on the host that keeps the lock, word for word. A lock of theirs and one of
# ours have to keep each other out.
d=/var/lib/steelyard; mkdir -p "$d" && exec 9>"$d/.lock-mutex" && flock -w 20 9 || exit 1
now=$(date +%s); mine="$d/$4"
ends() { cat "$1/until" 2>/dev/null || echo 0; }
shown() { if test -e "$1/owner"; then cat "$1/owner"; echo; echo "$(ends "$1") $now"; fi; }
case "$4" in lock) rivals="$d/lock $d/lock.*"; broken=$rivals ;; *) rivals="$d/lock $mine"; broken=$mine ;; esac
case "$1" in
  take) for r in $rivals; do
          if test "$(ends "$r")" -gt "$now" && ! grep -qs "$2" "$r/owner"; then shown "$r"; exit 75; fi
        done
        rm -rf "$mine"; mkdir -m 755 "$mine" && echo $((now + $3)) >"$mine/until" && cat >"$mine/owner" ;;
  renew) grep -qs "$2" "$mine/owner" || exit 76; echo $((now + $3)) >"$mine/until" ;;
  release) for r in $rivals; do if grep -qs "$2" "$r/owner"; then rm -rf "$r"; fi; done ;;
  break) for r in $broken; do shown "$r"; rm -rf "$r"; done ;;
  show) for r in $rivals; do shown "$r"; done ;;
esac
exit 0
