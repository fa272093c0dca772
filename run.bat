@echo off
rem Double-click: starts the studio. With arguments it is the same as: py run.py ARGUMENTS
setlocal
set "PROBE=import sys; sys.exit(sys.version_info < (3, 7))"
rem Python 3.7 can read run.py, which goes on with a newer one or says what is needed.
set "PYTHON=py -3"
%PYTHON% -c "%PROBE%" >nul 2>nul
if not errorlevel 1 goto found
set "PYTHON=python"
%PYTHON% -c "%PROBE%" >nul 2>nul
if not errorlevel 1 goto found
set "PYTHON=python3"
%PYTHON% -c "%PROBE%" >nul 2>nul
if not errorlevel 1 goto found
echo Found no Python 3; FramePack Studio needs Python 3.11 to 3.14.
echo Get it from https://www.python.org/downloads/ and tick "Add python.exe to PATH"
echo when it installs, then start this file again.
if "%~1"=="" pause
exit /b 1

:found
rem An update may change this file, so nothing of it is read after run.py has run.
if not "%~1"=="" %PYTHON% "%~dp0run.py" %* & exit /b
title FramePack Studio
echo The studio opens in your browser. To stop it, press Ctrl-C here or close this window.
%PYTHON% "%~dp0run.py" serve --inbrowser --quiet && exit /b 0 || echo The studio has stopped; the lines above say why. & pause & exit /b 1
