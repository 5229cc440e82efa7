#!/bin/sh
# Says which system packages are missing and installs them where it may (root with apt-get).
# EGL with Mesa's software rasteriser draws the pictures; no GPU or display is needed.
set -eu
missing=""
need() { # need LIBRARY PACKAGE
    ldconfig -p 2>/dev/null | grep -q "$1" || missing="$missing $2"
}
need libEGL.so.1 libegl1
need libEGL_mesa.so.0 libegl-mesa0
[ -n "$(find /usr/lib /usr/lib64 -name swrast_dri.so -o -name libgallium-\*.so 2>/dev/null | head -n 1)" ] || missing="$missing libgl1-mesa-dri"
"${PYTHON:-python3}" -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0
echo "missing system packages:$missing"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "install them, then run the same command again:  sudo apt-get install$missing"
    exit 1
fi
