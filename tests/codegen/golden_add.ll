define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind "prefer-vector-width"="256" {
entry:
  %v3 = getelementptr i8, ptr %launch, i64 8
  %v4 = load ptr, ptr %v3
  %v5 = getelementptr i64, ptr %v4, i64 0
  %v6 = load i64, ptr %v5
  %v12 = mul i64 4, %v6
  %v13 = mul i64 4, %v6
  %v14 = add i64 %v12, %v13
  %v15 = mul i64 4, %v6
  %v16 = add i64 %v14, %v15
  %v17 = icmp sge i64 %v16, 50331648
  %v21 = alloca i64, align 64
  %v22 = alloca i64, align 64
  %v26 = getelementptr i8, ptr %launch, i64 0
  %v27 = load ptr, ptr %v26
  %v28 = getelementptr ptr, ptr %v27, i64 2
  %v29 = load i64, ptr %v28
  %v41 = getelementptr ptr, ptr %v27, i64 0
  %v42 = load ptr, ptr %v41
  %v45 = getelementptr ptr, ptr %v27, i64 1
  %v46 = load ptr, ptr %v45
  %v50 = getelementptr ptr, ptr %v27, i64 2
  %v51 = load ptr, ptr %v50
  br label %start
start:
  %v1 = mul i64 %begin, 1024
  %v2 = mul i64 %end, 1024
  %v7 = call i64 @llvm.smin.i64(i64 %v2, i64 %v6)
  %v8 = icmp slt i64 %v1, %v7
  br i1 %v8, label %then9, label %done10
then9:
  br label %walk11
walk11:
  %v18 = sub i64 %v7, %v1
  %v19 = and i64 %v18, -32
  %v20 = add i64 %v1, %v19
  store i64 %v1, ptr %v21
  store i64 %v20, ptr %v22
  br i1 %v17, label %then23, label %done24, !prof !1
then23:
  %v25 = mul i64 %v1, 4
  %v30 = add i64 %v29, %v25
  %v31 = and i64 %v30, 63
  %v32 = icmp eq i64 %v31, 0
  %v33 = and i1 %v17, %v32
  br i1 %v33, label %then34, label %done35
then34:
  %v39 = icmp slt i64 %v1, %v20
  br i1 %v39, label %loop36, label %done37
loop36:
  %i38 = phi i64 [%v1, %then34], [%v53, %loop36]
  %v40 = call i64 asm "", "=r,0"(i64 %i38)
  %v43 = getelementptr float, ptr %v42, i64 %v40
  %v44 = load <32 x float>, ptr %v43, align 4
  %v47 = getelementptr float, ptr %v46, i64 %v40
  %v48 = load <32 x float>, ptr %v47, align 4
  %v49.1 = fadd <32 x float> %v44, %v48
  %v52 = getelementptr float, ptr %v51, i64 %v40
  store <32 x float> %v49.1, ptr %v52, align 64, !nontemporal !0
  %v53 = add i64 %v40, 32
  %v54 = icmp slt i64 %v53, %v20
  br i1 %v54, label %loop36, label %done37
done37:
  br label %done35
done35:
  %v55 = select i1 %v33, i64 %v20, i64 %v1
  store i64 %v55, ptr %v21
  %v56 = select i1 %v33, i64 %v20, i64 %v20
  store i64 %v56, ptr %v22
  br label %done24
done24:
  %v57 = load i64, ptr %v21
  %v58 = load i64, ptr %v22
  %v62 = icmp slt i64 %v57, %v58
  br i1 %v62, label %loop59, label %done60
loop59:
  %i61 = phi i64 [%v57, %done24], [%v70, %loop59]
  %v63 = call i64 asm "", "=r,0"(i64 %i61)
  %v64 = getelementptr float, ptr %v42, i64 %v63
  %v65 = load <32 x float>, ptr %v64, align 4
  %v66 = getelementptr float, ptr %v46, i64 %v63
  %v67 = load <32 x float>, ptr %v66, align 4
  %v68.1 = fadd <32 x float> %v65, %v67
  %v69 = getelementptr float, ptr %v51, i64 %v63
  store <32 x float> %v68.1, ptr %v69, align 4
  %v70 = add i64 %v63, 32
  %v71 = icmp slt i64 %v70, %v58
  br i1 %v71, label %loop59, label %done60
done60:
  %v75 = icmp slt i64 %v58, %v7
  br i1 %v75, label %loop72, label %done73
loop72:
  %i74 = phi i64 [%v58, %done60], [%v89, %loop72]
  %v76 = call i64 asm "", "=r,0"(i64 %i74)
  %v77 = sub i64 %v7, %v76
  %v78 = call i64 @llvm.smin.i64(i64 %v77, i64 8)
  %v79 = trunc i64 %v78 to i32
  %v80 = insertelement <8 x i32> poison, i32 %v79, i64 0
  %v81 = shufflevector <8 x i32> %v80, <8 x i32> poison, <8 x i32> zeroinitializer
  %v82 = icmp ult <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %v81
  %v83 = getelementptr float, ptr %v42, i64 %v76
  %v84 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr %v83, i32 4, <8 x i1> %v82, <8 x float> zeroinitializer)
  %v85 = getelementptr float, ptr %v46, i64 %v76
  %v86 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr %v85, i32 4, <8 x i1> %v82, <8 x float> zeroinitializer)
  %v87.1 = fadd <8 x float> %v84, %v86
  %v88 = getelementptr float, ptr %v51, i64 %v76
  call void @llvm.masked.store.v8f32.p0(<8 x float> %v87.1, ptr %v88, i32 4, <8 x i1> %v82)
  %v89 = add i64 %v76, 8
  %v90 = icmp slt i64 %v89, %v7
  br i1 %v90, label %loop72, label %done73
done73:
  br label %done10
done10:
  br i1 %v17, label %then91, label %done92
then91:
  call void @llvm.x86.sse.sfence()
  br label %done92
done92:
  ret i32 0
}
declare i64 @llvm.smin.i64(i64, i64)
declare <8 x float> @llvm.masked.load.v8f32.p0(ptr, i32, <8 x i1>, <8 x float>)
declare void @llvm.masked.store.v8f32.p0(<8 x float>, ptr, i32, <8 x i1>)
declare void @llvm.x86.sse.sfence()
!1 = !{!"branch_weights", i32 1, i32 4096}
!0 = !{i32 1}
