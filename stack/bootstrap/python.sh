# Runs a script with the first Python that is new enough and can make virtual environments.
#   sh stack/bootstrap/python.sh SCRIPT [ARGUMENT...]
# If $PYTHON is set, it is the only candidate. POSIX sh, which every machine has.

usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c "$usable" >/dev/null 2>&1; then
        exec "$candidate" "$@"
    fi
done

found=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
case $found in
    '') echo "truepenny: Python 3.11 or newer is needed, and ${PYTHON:-python3} was not found" ;;
    3.1[1-9]) echo "truepenny: Python $found lacks its venv module (on Debian: apt install python3-venv)" ;;
    *) echo "truepenny: Python 3.11 or newer is needed, and ${PYTHON:-python3} is $found" ;;
esac >&2
exit 1
