@echo off
rem Double-click: brings the studio to its newest version. One line, which it may itself change.
call "%~dp0run.bat" update & pause & exit /b
